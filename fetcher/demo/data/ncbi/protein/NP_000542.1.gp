LOCUS       NP_000542                213 aa            linear   PRI 18-JAN-2014
DEFINITION  von Hippel-Lindau disease tumor suppressor isoform 1 [Homo
            sapiens].
ACCESSION   NP_000542
VERSION     NP_000542.1
DBSOURCE    REFSEQ: accession NM_000551.3
KEYWORDS    RefSeq.
SOURCE      Homo sapiens (human)
  ORGANISM  Homo sapiens
            Eukaryota; Metazoa; Chordata; Craniata; Vertebrata; Euteleostomi;
            Mammalia; Eutheria; Euarchontoglires; Primates; Haplorrhini;
            Catarrhini; Hominidae; Homo.
REFERENCE   1  (residues 1 to 213)
  AUTHORS   Chen S, Chen K, Zhang Q, Cheng H and Zhou R.
  TITLE     Regulation of the transcriptional activation of the androgen
            receptor by the UXT-binding protein VHL
  JOURNAL   Biochem. J. 456 (1), 55-66 (2013)
   PUBMED   23961993
  REMARK    GeneRIF: VHL-UXT interaction and VHL-induced ubiquitination of
            androgen receptor(AR) regulate transcriptional activation of the
            AR.
REFERENCE   2  (residues 1 to 213)
  AUTHORS   Chien W, Lee KL, Ding LW, Wuensche P, Kato H, Doan NB, Poellinger
            L, Said JW and Koeffler HP.
  TITLE     PIAS4 is an activator of hypoxia signalling via VHL suppression
            during growth of pancreatic cancer cells
  JOURNAL   Br. J. Cancer 109 (7), 1795-1804 (2013)
   PUBMED   24002598
  REMARK    GeneRIF: PIAS4 interacts with the tumour suppressor von
            Hippel-Lindau (VHL) and leads to VHL sumoylation, oligomerization,
            and impaired function.
REFERENCE   3  (residues 1 to 213)
  AUTHORS   Merlo A, de Quiros SB, de Santa-Maria IS, Pitiot AS, Balbin M,
            Astudillo A, Scola B, Aristegui M, Quer M, Suarez C and Chiara MD.
  TITLE     Identification of somatic VHL gene mutations in sporadic head and
            neck paragangliomas in association with activation of the
            HIF-1alpha/miR-210 signaling pathway
  JOURNAL   J. Clin. Endocrinol. Metab. 98 (10), E1661-E1666 (2013)
   PUBMED   23902947
  REMARK    GeneRIF: VHL, involved in tumorigenesis of paragangliomas and clear
            cell renal cell carcinomas, may be an important player in the
            pathogenesis of sporadic Head and neck paragangliomas via
            activation of an HIF-1alpha/miR-210 pHx pathway
REFERENCE   4  (residues 1 to 213)
  AUTHORS   Desimone MC, Rathmell WK and Threadgill DW.
  TITLE     Pleiotropic effects of the trichloroethylene-associated P81S VHL
            mutation on metabolism, apoptosis, and ATM-mediated DNA damage
            response
  JOURNAL   J. Natl. Cancer Inst. 105 (18), 1355-1364 (2013)
   PUBMED   23990666
  REMARK    GeneRIF: The TCE-associated P81S VHL mutation can initiate a unique
            adaptive response required for selective tumor growth through
            pleiotropic effects on metabolic diversification, apoptosis
            suppression, and alteration of the DNA damage response.
REFERENCE   5  (residues 1 to 213)
  AUTHORS   Neumann HP, Eng C, Mulligan LM, Glavac D, Zauner I, Ponder BA,
            Crossey PA, Maher ER and Brauch H.
  TITLE     Consequences of direct genetic testing for germline mutations in
            the clinical management of families with multiple endocrine
            neoplasia, type II
  JOURNAL   JAMA 274 (14), 1149-1151 (1995)
   PUBMED   7563486
REFERENCE   6  (residues 1 to 213)
  AUTHORS   Adams MD, Kerlavage AR, Fleischmann RD, Fuldner RA, Bult CJ, Lee
            NH, Kirkness EF, Weinstock KG, Gocayne JD and White O.
  CONSRTM   et al
  TITLE     Initial assessment of human gene diversity and expression patterns
            based upon 83 million nucleotides of cDNA sequence
  JOURNAL   Nature 377 (6547 SUPPL), 3-174 (1995)
   PUBMED   7566098
REFERENCE   7  (residues 1 to 213)
  AUTHORS   Duan DR, Humphrey JS, Chen DY, Weng Y, Sukegawa J, Lee S, Gnarra
            JR, Linehan WM and Klausner RD.
  TITLE     Characterization of the VHL tumor suppressor gene product:
            localization, complex formation, and the effect of natural
            inactivating mutations
  JOURNAL   Proc. Natl. Acad. Sci. U.S.A. 92 (14), 6459-6463 (1995)
   PUBMED   7604013
REFERENCE   8  (residues 1 to 213)
  AUTHORS   Latif F, Tory K, Gnarra J, Yao M, Duh FM, Orcutt ML, Stackhouse T,
            Kuzmin I, Modi W and Geil L.
  CONSRTM   et al
  TITLE     Identification of the von Hippel-Lindau disease tumor suppressor
            gene
  JOURNAL   Science 260 (5112), 1317-1320 (1993)
   PUBMED   8493574
REFERENCE   9  (residues 1 to 213)
  AUTHORS   Frantzen,C., Links,T.P. and Giles,R.H.
  TITLE     Von Hippel-Lindau Disease
  JOURNAL   (in) Pagon RA, Adam MP, Bird TD, Dolan CR, Fong CT and Stephens K
            (Eds.); GENEREVIEWS; (1993)
   PUBMED   20301636
REFERENCE   10 (residues 1 to 213)
  AUTHORS   Neumann HP and Wiestler OD.
  TITLE     Clustering of features of von Hippel-Lindau syndrome: evidence for
            a complex genetic locus
  JOURNAL   Lancet 337 (8749), 1052-1054 (1991)
   PUBMED   1673491
  REMARK    Review article
COMMENT     REVIEWED REFSEQ: This record has been curated by NCBI staff. The
            reference sequence was derived from AC034193.5, L15409.1,
            AK315799.1, BC058831.1 and D58014.1.
            This sequence is a reference standard in the RefSeqGene project.
            On Jan 19, 2011 this sequence version replaced gi:38045904.
            
            Summary: Von Hippel-Lindau syndrome (VHL) is a dominantly inherited
            familial cancer syndrome predisposing to a variety of malignant and
            benign tumors. A germline mutation of this gene is the basis of
            familial inheritance of VHL syndrome. The protein encoded by this
            gene is a component of the protein complex that includes elongin B,
            elongin C, and cullin-2, and possesses ubiquitin ligase E3
            activity. This protein is involved in the ubiquitination and
            degradation of hypoxia-inducible-factor (HIF), which is a
            transcription factor that plays a central role in the regulation of
            gene expression by oxygen. RNA polymerase II subunit POLR2G/RPB7 is
            also reported to be a target of this protein. Alternatively spliced
            transcript variants encoding distinct isoforms have been observed.
            [provided by RefSeq, Jul 2008]
            
            Transcript Variant: This variant (1) represents the longer
            transcript and encodes the longer isoform (1).
            
            Sequence Note: This RefSeq record was created from transcript and
            genomic sequence data to make the sequence consistent with the
            reference genome assembly. The genomic coordinates used for the
            transcript record were based on transcript alignments.
            
            Publication Note: This RefSeq record includes a subset of the
            publications that are available for this gene. Please see the Gene
            record to access additional publications.
            
            ##Evidence-Data-START##
            Transcript exon combination :: L15409.1, BQ893536.1 [ECO:0000332]
            RNAseq introns              :: single sample supports all introns
                                           ERS025081, ERS025082 [ECO:0000348]
            ##Evidence-Data-END##
            COMPLETENESS: complete on the 3' end.
            Method: conceptual translation.
FEATURES             Location/Qualifiers
     source          1..213
                     /organism="Homo sapiens"
                     /db_xref="taxon:9606"
                     /chromosome="3"
                     /map="3p25.3"
     Protein         1..213
                     /product="von Hippel-Lindau disease tumor suppressor
                     isoform 1"
     CDS             1..213
                     /gene="VHL"
                     /gene_synonym="HRCA1; pVHL; RCA1; VHL1"
                     /note="isoform 1 is encoded by transcript variant 1;
                     elongin binding protein; von Hippel-Lindau disease tumor
                     suppressor; protein G7"
                     /coded_by="NM_000551.3:214..855"
                     /transl_table=1
                     /db_xref="GI:4507891"
                     /db_xref="CCDS:CCDS2597.1"
                     /db_xref="GeneID:7428"
                     /db_xref="HGNC:12687"
                     /db_xref="HPRD:01905"
                     /db_xref="MIM:608537"
ORIGIN      
        1 mprraenwde aevgaeeagv eeygpeedgg eesgaeesgp eesgpeelga eeemeagrpr
       61 pvlrsvnsre psqvifcnrs prvvlpvwln fdgepqpypt lppgtgrrih syrghlwlfr
      121 dagthdgllv nqtelfvpsl nvdgqpifan itlpvytlke rclqvvrslv kpenyrrldi
      181 vrslyedled hpnvqkdler ltqeriahqr mgd
//
