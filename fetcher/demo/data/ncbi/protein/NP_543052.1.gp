LOCUS       NP_543052                157 aa            linear   VRL 13-AUG-2018
DEFINITION  coat protein [Wasabi mottle virus].
ACCESSION   NP_543052
VERSION     NP_543052.1
DBLINK      BioProject: PRJNA485481
DBSOURCE    REFSEQ: accession NC_003355.1
KEYWORDS    RefSeq.
SOURCE      Wasabi mottle virus
  ORGANISM  Wasabi mottle virus
            Viruses; Riboviria; Orthornavirae; Kitrinoviricota; Alsuviricetes;
            Martellivirales; Virgaviridae; Tobamovirus.
REFERENCE   1  (residues 1 to 157)
  AUTHORS   Lee,K., Nishiguchi,M. and Kashiwazaki,S.
  TITLE     Complete nucleotide sequences of two isolates of crucifer
            tobamovirus
  JOURNAL   Unpublished
REFERENCE   2  (residues 1 to 157)
  CONSRTM   NCBI Genome Project
  TITLE     Direct Submission
  JOURNAL   Submitted (22-JAN-2002) National Center for Biotechnology
            Information, NIH, Bethesda, MD 20894, USA
REFERENCE   3  (residues 1 to 157)
  AUTHORS   Lee,K., Nishiguchi,M. and Kashiwazaki,S.
  TITLE     Direct Submission
  JOURNAL   Submitted (07-SEP-1998) Contact:Satoshi Kashiwazaki National
            Agriculture Research Center, Department of Plant Protection; 3-1-1
            Kannondai, Tsukuba, Ibaraki 305-8666, Japan
COMMENT     PROVISIONAL REFSEQ: This record has not yet been subject to final
            NCBI review. The reference sequence is identical to AB017503.
            COMPLETENESS: full length.
            Method: conceptual translation.
FEATURES             Location/Qualifiers
     source          1..157
                     /organism="Wasabi mottle virus"
                     /strain="wasabi"
                     /isolate="Shizuoka"
                     /db_xref="taxon:1169032"
     Protein         1..157
                     /product="coat protein"
     CDS             1..157
                     /locus_tag="CtVgp4"
                     /coded_by="NC_003355.1:5590..6063"
                     /transl_table=1
                     /db_xref="GeneID:929732"
ORIGIN      
        1 msynitnsnq yqffaavwae piamlnqcis alsqsyqtqa ardtvrqqfs nllsaivtpn
       61 qrfpetgyrv yvnsavlkpl yealmksfdt rnriieteee srpsasevan atqrvddatv
      121 airsqiqlll selssghglm nraefevlip watapak
//
